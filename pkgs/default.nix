# Overlay: BarnabeeNet's packages, whose names begin with `barnabee`, and the Python packages of poetry.lock.
final: prev: {
  barnabeePython = final.callPackage ./python { };
  # The same packages under nixpkgs' attribute names.
  python311Packages = prev.python311Packages.overrideScope (_: _: final.barnabeePython.built);

  barnabee = final.callPackage ./barnabee { inherit (final.barnabeePython) runtime checks; };
  # The same with the CUDA libraries.
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
