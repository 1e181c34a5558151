#!/bin/sh
# Runs in the guest: uses memory, gives some back, takes it again; what it keeps must stay as it is. At each "=== pause"
# it waits for a line, while the host looks at how much memory it holds.
set -eu
stty -F /dev/ttyS0 -echo
pause() {
  echo "=== pause $1"
  read -r _
}
pages() { awk -v name="$1" '$1 == name { print $2 }' /proc/vmstat; }
keep() { sha256sum </keep/data; }

mkdir /keep /scratch
mount -t tmpfs -o size=90% none /keep
mount -t tmpfs -o size=90% none /scratch
dd if=/dev/urandom of=/keep/seed bs=64k count=16 2>/dev/null
for n in $(seq 32); do cat /keep/seed; done >/keep/data
sum=$(keep)
dd if=/dev/zero of=/scratch/a bs=1M count=256 2>/dev/null
rm /scratch/a
pause used
for module in virtio_ring virtio $(cat /transport) virtio_balloon; do
  insmod /modules/$module.ko
done
tries=0
while [ "$(pages balloon_inflate)" -lt 49152 ] && [ $tries -lt 200 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
echo "=== inflated by $(pages balloon_inflate) pages"
sleep 3 # free pages are reported every 2 s
pause inflated
[ "$(keep)" = "$sum" ] && echo "=== kept beside the balloon"
rmmod virtio_balloon
echo "=== deflated by $(pages balloon_deflate) pages"
dd if=/dev/zero of=/scratch/a bs=1M count=256 2>/dev/null
pause taken again
[ "$(keep)" = "$sum" ] && echo "=== kept without the balloon"
rm /scratch/a
insmod /modules/virtio_balloon.ko
sleep 1
# More than there is beside the balloon.
dd if=/dev/zero of=/scratch/a bs=1M count=300 2>/dev/null && echo "=== 300 MiB beside a balloon"
[ "$(keep)" = "$sum" ] && echo "=== kept at the end"
[ "$(pages balloon_deflate)" -gt 60000 ] && echo "=== deflated when memory ran out"
echo "=== balloon done"
