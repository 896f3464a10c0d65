"""A page in the browser: convert a recording, speak live in another voice, train a voice."""
