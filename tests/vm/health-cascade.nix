# Health cascade: from power-on to all services healthy; then each service is killed once and recovers.
{ machines, ... }:
{
  machines = { inherit (machines) backup core gpu; };
}
