"""Voice service: conversations over WebRTC and WebSocket."""
