"""The federation on RabbitMQ, as the coordinator declares and uses it."""
