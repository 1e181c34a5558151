#!/bin/sh
# Runs in the guest: fills the file system on /dev/vda, writes to /dev/vdb without one, checks that /dev/vdc is
# read-only. The host compares what came of it.
set -eu
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk virtio_console; do
  insmod /modules/$module.ko
done
case $1 in
  write)
    [ "$(cat /sys/block/vda/serial)" = first ]
    [ "$(cat /sys/block/vda/queue/write_cache)" = "write back" ]
    mount -t ext4 /dev/vda /mnt
    cp -r /bin/busybox /modules /mnt
    dd if=/dev/urandom of=/mnt/random bs=64k count=100 2>/dev/null
    (cd /mnt && find . -type f -exec sha256sum {} + | sort) >/tmp/sums
    [ "$(wc -l </tmp/sums)" -gt 5 ]
    cp /tmp/sums /mnt/sums
    fstrim /mnt
    umount /mnt
    # 4 KiB here and there, past the page cache, so that each is a request of its own.
    for place in 5 1 1000 77 1023 78; do
      dd if=/dev/vda of=/dev/vdb bs=4k skip=$place seek=$place count=1 oflag=direct conv=notrunc 2>/dev/null
    done
    # Written by us, so that it is the discard that leaves zeroes.
    dd if=/dev/urandom of=/dev/vdb bs=4k seek=256 count=16 oflag=direct conv=notrunc 2>/dev/null
    [ "$(dd if=/dev/vdb bs=4k skip=256 count=16 iflag=direct 2>/dev/null | tr -d '\0' | wc -c)" -gt 60000 ]
    blkdiscard -o 1048576 -l 65536 /dev/vdb
    [ "$(cat /sys/block/vdc/ro)" = 1 ]
    if dd if=/dev/zero of=/dev/vdc bs=4k count=1 2>/dev/null; then exit 1; fi
    sha256sum </dev/vdc
    sync
    ;;
  check)
    mount -t ext4 -o ro /dev/vda /mnt
    (cd /mnt && sha256sum -c sums) >/tmp/checked
    [ "$(grep -c ': OK$' /tmp/checked)" = "$(wc -l </mnt/sums)" ]
    umount /mnt
    stty -F /dev/ttyS0 onlcr # returns when all is sent: the two lines have one screen
    [ ! -e /dev/hvc0 ] || echo "=== over hvc0" >/dev/hvc0
    dd if=/dev/urandom of=/dev/vda bs=1M count=4 conv=fsync 2>/dev/null
    ;;
  endless)
    # The first megabytes one by one, each synced, and told; then the last four over and over, until we are killed.
    for n in 0 1 2 3 4 5 6 7 8 9 10 11; do
      dd if=/dev/urandom of=/dev/vda bs=4k seek=$((n * 256)) count=256 conv=notrunc,fsync 2>/dev/null
      echo "=== stable $((n + 1)) $(dd if=/dev/vda bs=1M count=$((n + 1)) 2>/dev/null | sha256sum | cut -d' ' -f1)"
    done
    while true; do
      dd if=/dev/urandom of=/dev/vda bs=4k seek=3072 count=1024 conv=notrunc,fsync 2>/dev/null
      blkdiscard -o 12582912 -l 4194304 /dev/vda
    done
    ;;
esac
echo "=== $1 done"
