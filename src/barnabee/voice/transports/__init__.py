"""Transports: WebRTC and WebSocket, on top of Pipecat's."""
