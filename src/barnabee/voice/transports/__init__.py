"""How sound comes in and goes out: Pipecat's transports, and what they lack here."""
