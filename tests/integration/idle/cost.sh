# cost_of PID SECONDS: processor time that the process takes in the next SECONDS, in thousandths of one processor.
ticks_of() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }  # utime and stime, in 1/100 s
cost_of() {
  local before after
  before=$(ticks_of "$1")
  sleep "$2"
  after=$(ticks_of "$1")
  echo $(((after - before) * 10 / $2))
}
