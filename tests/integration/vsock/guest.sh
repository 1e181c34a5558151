#!/bin/sh
# Runs in the guest: streams to the host and from it. "=== ready" says that its servers listen, "=== go" comes back as a
# line when the host's part is done.
set -eu
stty -F /dev/ttyS0 -echo
for module in virtio_ring virtio $(cat /transport) vsock vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport; do
  insmod /modules/$module.ko
done
# To the host.
echo "=== sent $(sha256sum </data)"
/peer vsock:2:1000 pipe </data >/got
echo "=== got $(sha256sum </got)"
/peer vsock:2:4000 storm 60
! /peer vsock:2:5000 pipe </dev/null 2>/refused
echo "=== refused: $(cat /refused)"
for n in $(seq 5); do /peer vsock:2:4000 abort 300000; done
/peer vsock:2:4000 storm 3
# From the host.
/peer vsock-listen:3000 echo &
/peer vsock-listen:2000 pipe </dev/null >/called &
echo "=== ready"
read -r _
echo "=== called $(sha256sum </called)"
echo "=== vsock done"
