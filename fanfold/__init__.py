"""Fanfold: asynchronous federated learning over RabbitMQ."""
