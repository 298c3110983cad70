"""What requests mean: the application, Open Inference Protocol v2, ``/invocations``, who may ask and what is told."""
