# For the scripts of this folder: a machine in the background, its serial console and ssh into it. Sourced with `vmm`, `image` and
# `name` set; gives `work`, a directory that goes at the end, with the machine if it still runs.
work=$(mktemp -d)
machine=
end() {
  [ -z "$machine" ] || kill "$machine" 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT
trap 'echo "$name: line $LINENO: status $?" >&2' ERR  # what nobody expected to fail
die() {
  echo "$name: $*" >&2
  exit 1
}
fail_with() {
  tail -n 40 "$work/console" | cat -v >&2
  cat "$work/errors" >&2
  die "$*"
}
mkfifo "$work/keys"
# boot OPTION...: the machine, with a user-mode network whose port `port` is the guest's ssh.
boot() {
  port=$((20000 + RANDOM % 20000))
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done  # one that nobody has
  "$vmm" run "$@" --net "user,forward=tcp:$port:22" <"$work/keys" >"$work/console" 2>"$work/errors" &
  machine=$!
  exec 3>"$work/keys"
}
# await TEXT SECONDS: until the console shows it.
await() {
  local n
  for ((n = 0; n < 2 * $2; ++n)); do
    ! grep -q "$1" <(tr -d '\r' <"$work/console") || return 0
    kill -0 "$machine" 2>/dev/null || fail_with "ended before '$1'"
    sleep 0.5
  done
  fail_with "no '$1' within $2 s"
}
log_in() {
  await 'debian login: ' 900
  printf 'root\r' >&3
  await 'Password: ' 60
  printf 'vellum\r' >&3
  await 'root@debian:~# ' 60
}
# guest COMMAND...: by ssh, within `patience` seconds.
patience=600
guest() {
  timeout $patience ssh -i "$image/key" -p "$port" -o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=60 \
    -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@127.0.0.1 "$@"
}
# whole_state: fails unless systemd says that all is well.
whole_state() {
  local state
  state=$(guest systemctl is-system-running --wait) || true
  [ "$state" = running ] || fail_with "systemd says '$state': $(guest systemctl --failed --no-legend --plain || true)"
}
# power_off: from within; the machine must end by itself, with status 0.
power_off() {
  local n status=0
  guest systemctl poweroff || true  # the connection may go first
  for ((n = 0; n < 1500; ++n)); do kill -0 "$machine" 2>/dev/null || break; sleep 0.2; done
  kill -0 "$machine" 2>/dev/null && fail_with "still runs five minutes after poweroff"
  wait "$machine" || status=$?
  machine=
  exec 3>&-
  [ $status -eq 0 ] || fail_with "ended with status $status"
}
# partition N: that of the disk in $work/raw, into a file of its own, $work/partN.
partition() {
  local start sectors
  read -r start sectors < <(sfdisk -d "$work/raw" | sed -n "s/.*raw$1 : start= *\([0-9]*\), size= *\([0-9]*\),.*/\1 \2/p")
  dd "if=$work/raw" "of=$work/part$1" bs=1M iflag=skip_bytes,count_bytes skip=$((start * 512)) \
    count=$((sectors * 512)) conv=sparse status=none
}
# sound_root N: fails unless the ext4 in partition N of $work/raw is whole and was unmounted.
sound_root() {
  partition "$1"
  e2fsck -fn "$work/part$1" >"$work/fsck" 2>&1 || { cat "$work/fsck" >&2; die "the root file system is damaged"; }
  ! grep -qi 'recovering journal\|needs to be' "$work/fsck" || die "the root file system was not unmounted: $(cat "$work/fsck")"
}
# reach_mirror: `mirror`, where the image's packages came from; fails if it cannot be reached from here.
reach_mirror() {
  mirror=$(guest sed -n "'s/^deb .*\\(http:[^ ]*\\) bookworm main.*/\\1/p'" /etc/apt/sources.list | head -n1) || fail_with "no ssh"
  /usr/lib/apt/apt-helper -o Acquire::Retries=0 download-file "$mirror/dists/bookworm/Release" "$work/Release" >/dev/null 2>&1
}
