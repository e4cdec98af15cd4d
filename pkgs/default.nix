# The overlay: everything of ours that nixpkgs does not have. Names begin with `barnabee`.
final: _: {
  barnabeePython = final.callPackage ./python { };

  barnabee = final.callPackage ./barnabee { inherit (final.barnabeePython) runtime checks; };
  # The same with the libraries of a CUDA card.
  barnabee-cuda = final.callPackage ./barnabee {
    runtime = final.barnabeePython.cuda;
    checks = [ ];
    variant = "-cuda";
  };

  barnabee-litestream = final.callPackage ./litestream.nix { };

  barnabeeModels = final.callPackage ./models { };
  barnabee-models-cpu = final.barnabeeModels.forDevice "cpu";
  barnabee-models-cuda = final.barnabeeModels.forDevice "cuda";

  barnabee-dashboard = final.callPackage ./dashboard { };

  barnabee-fillers = final.callPackage ./fillers { };
}
