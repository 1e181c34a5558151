#!/bin/sh
# Runs in the guest: has its driver take virtio devices by their legacy interface; copies a disk, reaches the gateway on
# two pairs of queues.
set -eu
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev; do
  insmod /modules/$module.ko
done
insmod /modules/virtio_pci.ko force_legacy=1
for module in virtio_blk failover net_failover virtio_net virtio-rng virtio_balloon; do
  insmod /modules/$module.ko
done
# Bit 32 of the features is VERSION_1.
cut -c33 /sys/bus/virtio/devices/*/features | sort | uniq -c | sed 's/^ */=== version 1: /'
echo "=== vda $(sha256sum </dev/vda)"
dd if=/dev/vda of=/dev/vdb bs=64k conv=fsync 2>/dev/null
[ "$(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c)" = 64 ]
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ping -c 2 -W 5 10.0.2.2
echo "=== pairs $(ls /sys/class/net/eth0/queues | tr '\n' ' ')"
for cpu in 1 2; do taskset $cpu ping -c 20 -i 0.02 -W 5 10.0.2.2 >/dev/null; done
# A reply comes on the pair that its request went out on, that of the processor.
for queue in input.0 input.1; do
  echo "=== $queue $(awk "/virtio[0-9]+-$queue\$/ { print (\$2 + \$3 >= 10) ? \"interrupts\" : \"idle\" }" /proc/interrupts)"
done
# Unbound and bound again: the driver resets the device.
device=$(basename "$(readlink -f /sys/block/vdb/device)")
echo "$device" >/sys/bus/virtio/drivers/virtio_blk/unbind
echo "$device" >/sys/bus/virtio/drivers/virtio_blk/bind
cmp /dev/vda /dev/vdb
echo "=== legacy done"
