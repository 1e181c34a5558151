# Runs the whole workload, in the guest and on the host alike: `busybox sh run.sh WORKLOAD APPLETS`, in an empty
# directory. Every part's output stands between marker lines with its exit status.
workload=$1
applets=$2

for part in $("$workload"); do
  echo "=== $part"
  "$workload" "$part"
  echo "=== $part status $?"
done
echo "=== applets"
sh "$applets" 2>&1
echo "=== applets status $?"
echo "=== end"
