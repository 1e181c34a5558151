# cost_of PID SECONDS: processor time that the process takes in the next SECONDS, in thousandths of one processor.
ticks_of() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }  # utime and stime, in 1/100 s
cost_of() {
  local before after
  before=$(ticks_of "$1")
  sleep "$2"
  after=$(ticks_of "$1")
  echo $(((after - before) * 10 / $2))
}
# wakes_of PID vcpus|others: how often its threads that run vCPUs, or those that do not, have slept so far.
wakes_of() {
  local thread name sum=0
  for thread in "/proc/$1/task"/*; do
    name=$(cat "$thread/comm")
    case $name in vcpu* | "CPU "*) name=vcpus ;; *) name=others ;; esac
    [ $name = "$2" ] || continue
    sum=$((sum + $(awk '/^voluntary/ { print $2 }' "$thread/status")))
  done
  echo $sum
}
# host_ticks: processor time that the host has spent on anything, in 1/100 s.
host_ticks() { awk '$1 == "cpu" { print $2 + $3 + $4 + $7 + $8 + $9 }' /proc/stat; }
