#!/bin/sh
# Runs in the guest: finds its virtio devices by ACPI alone, reads /dev/vda, writes to /dev/vdb, reaches the gateway, talks
# on /dev/hvc0.
set -eu
[ ! -e /sys/bus/pci/devices ] || [ -z "$(ls /sys/bus/pci/devices)" ]
for module in virtio_ring virtio virtio_mmio virtio_blk failover net_failover virtio_net virtio-rng virtio_console; do
  insmod /modules/$module.ko
done
ls /sys/bus/acpi/devices | grep -c '^LNRO0005:' | sed 's/^/=== devices /'
grep virtio /proc/interrupts | sed 's/^/=== /'
echo "=== vda $(sha256sum </dev/vda)"
dd if=/dev/vda of=/dev/vdb bs=64k conv=fsync 2>/dev/null
[ "$(cat /sys/devices/virtual/misc/hw_random/rng_current)" = virtio_rng.0 ]
[ "$(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c)" = 64 ]
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ping -c 2 -W 5 10.0.2.2
# Unbound and bound again: the driver resets the device, and takes its queue back.
device=$(basename "$(readlink -f /sys/block/vdb/device)")
echo "$device" >/sys/bus/virtio/drivers/virtio_blk/unbind
echo "$device" >/sys/bus/virtio/drivers/virtio_blk/bind
cmp /dev/vda /dev/vdb
exec 3<>/dev/hvc0 # stays open: the last close resets the line
stty -F /dev/hvc0 -echo
stty -F /dev/ttyS0 onlcr # returns when all is sent: the two lines have one screen
echo "=== over hvc0" >&3
read -r line <&3
seq 20000 >&3
echo "=== typed $line"
echo "=== micro done"
