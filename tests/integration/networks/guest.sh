#!/bin/sh
# Runs in the guest: takes its card into use and talks to whoever is at the other end.
#   guest.sh user PORT | tap PORT | left PORT | right PORT
# PORT: where the host (user, tap) or the left guest serves a file.
set -eu
if [ -e /modules/e1000.ko ]; then
  insmod /modules/e1000.ko
else
  for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net; do
    insmod /modules/$module.ko
  done
fi
file_of() { # ADDRESS PORT: fetches the file
  wget -q -O /tmp/file "http://$1:$2/file"
  sha256sum </tmp/file
}
give_back() { # serves it until somebody asks for /cgi-bin/end
  mkdir -p /tmp/www/cgi-bin
  mv /tmp/file /tmp/www
  printf '#!/bin/sh\ntouch /tmp/end\nprintf "Content-Type: text/plain\\r\\n\\r\\nbye\\n"\n' >/tmp/www/cgi-bin/end
  chmod +x /tmp/www/cgi-bin/end
  httpd -p 80 -h /tmp/www
  echo "=== ready"
  while [ ! -e /tmp/end ]; do sleep 0.2; done
  sleep 0.5
}
case $1 in
  user)
    cat >/tmp/lease <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router"
echo "=== lease $ip $router $dns"
END
    chmod +x /tmp/lease
    ip link set eth0 up
    udhcpc -q -n -i eth0 -s /tmp/lease
    ping -c 2 -W 5 10.0.2.2
    file_of 10.0.2.2 "$2"
    give_back
    ;;
  tap)
    ip addr add 192.168.77.2/24 dev eth0
    ip link set eth0 up
    ping -c 2 -W 5 192.168.77.1
    file_of 192.168.77.1 "$2"
    give_back
    ;;
  left)
    ip addr add 192.168.77.1/24 dev eth0
    ip link set eth0 up
    mkdir /tmp/www
    head -c 8388608 /dev/urandom >/tmp/www/file
    sha256sum </tmp/www/file
    httpd -p "$2" -h /tmp/www
    echo "=== ready"
    nc -l -p 80 </dev/null
    ;;
  right)
    ip addr add 192.168.77.2/24 dev eth0
    ip link set eth0 up
    ping -c 2 -W 5 192.168.77.1
    file_of 192.168.77.1 "$2"
    nc 192.168.77.1 80
    ;;
esac
echo "=== $1 done"
