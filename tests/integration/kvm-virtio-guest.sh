#!/bin/sh
# Runs in the guest that kvm-in-qemu --virtio boots: reads /dev/vda past the page cache, so that each block is a
# request, a notification and an interrupt.
set -eu
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_mmio virtio_blk; do
  insmod /modules/$module.ko
done
sum=$(dd if=/dev/vda bs=4k iflag=direct 2>/dev/null | sha256sum)
grep virtio /proc/interrupts
echo "=== vda ${sum%% *}"
