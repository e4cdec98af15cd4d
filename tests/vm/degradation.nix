# Degradation: without the gpu host, commands are still answered and services report degraded.
{ machines, ... }:
{
  machines = { inherit (machines) backup core gpu; };
}
