"""Warren: asynchronous federated learning over RabbitMQ."""
