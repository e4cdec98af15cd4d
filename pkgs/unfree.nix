# The packages without a free licence that this house runs: the card's driver, its CUDA libraries.
{ lib }:
package:
let
  name = lib.getName package;
in
lib.any (prefix: lib.hasPrefix prefix name) [
  "nvidia-"
  "cuda"
]
