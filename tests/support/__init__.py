"""Test support: real servers, fakes of services, clocks and waiting."""
