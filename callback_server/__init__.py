"""The deployable that receives M-PESA's Results and publishes completion events."""
