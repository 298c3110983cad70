"""What carries requests: HTTP on a socket, gRPC and ASGI beside it; bytes become a method, headers and a body."""
