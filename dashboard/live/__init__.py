"""The Live page: the microphone, what both networks recognise in it, and when."""
