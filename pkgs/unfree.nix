# Predicate of the packages without a free licence that the hosts use: the NVIDIA driver and CUDA libraries.
{ lib }:
package:
let
  name = lib.getName package;
in
lib.any (prefix: lib.hasPrefix prefix name) [
  "nvidia-"
  "cuda"
]
