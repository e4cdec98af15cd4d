"""Wyoming server: speech to text, text to speech, wake words and commands for Home Assistant.

app         assembly; health and metrics over HTTP
server      connections: limits, and events that are not valid
requests    what is done with the events of one connection
streams     the audio of one connection
events      reading events within limits; what this server offers
"""
