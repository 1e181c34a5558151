# In the guest: a whole disk written and read back, one of another format read, one that is write-protected.
set -e
insmod /modules/floppy.ko
dd if=/expected of=/dev/fd0 bs=18k conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
cmp /expected /dev/fd0 && echo "fd0 has what was written"
dd if=/dev/fd1 bs=512 count=1440 2>/dev/null | cmp - /second && echo "fd1 can be read"
echo x 2>/dev/null >/dev/fd1 || echo "fd1 is write-protected"
