"""The networks, their losses, and the folder of a trained voice."""
