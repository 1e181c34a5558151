# Busybox's own applets, as a script with the same output on every machine: text tools, checksums, archives and
# compressors, calculators, file tools. Runs in an empty directory, under busybox's shell, as `sh applets.sh`.
# Nothing here depends on the time, the user, the kernel or the order of a directory.
set -u
LC_ALL=C
export LC_ALL
umask 022

section() { echo "[$1]"; }

section seq
seq 1 2000 >numbers
seq -w 3 7 100 | tail -n 2
awk 'BEGIN { srand(7); x = 12345; for (i = 0; i < 3000; i++) { x = (x * 1103515245 + 12345) % 2147483648; printf "%d word%d %s\n", x % 977, x % 31, substr("abcdefghijklmnopqrstuvwxyz", x % 20 + 1, 5) } }' >records
cksum_all() { md5sum <"$1"; sha1sum <"$1"; sha256sum <"$1"; sha512sum <"$1"; sha3sum <"$1"; crc32 "$1"; }

section checksums
cksum_all records
printf 'abc' | sha256sum
printf '' | md5sum

section sort
sort -n records | md5sum
sort -k2,2 -k1,1nr records | head -n 3
sort -u -k2,2 records | wc -l
shuf -i 1-50 | sort -n | paste -s -d, -
uniq -c numbers | tail -n 1
cut -d' ' -f2 records | sort | uniq -c | sort -rn -k1,1 -k2 | head -n 4

section awk
awk '{ n[$2] += $1 } END { for (k in n) print k, n[k] }' records | sort | md5sum
awk 'BEGIN { printf "%.6f %d %.10e\n", 1 / 7, 2 ^ 40, 1.5 ^ 100 }'
awk 'BEGIN { for (i = 1; i <= 200; i++) s += 1 / i; printf "%.15g\n", s }'
awk '/word1[0-9]/ { gsub(/[aeiou]/, "-"); n++ ; if (n < 4) print toupper($3) } END { print n }' records

section sed
sed -n '5,7s/word\([0-9]*\)/<\1>/p' records
sed -e '1!G;h;$!d' numbers | head -n 2
sed -E 's/([a-e]+)/[\1]/g; y/fghij/FGHIJ/' records | md5sum

section grep
grep -c 'word3' records
grep -E -o '[a-z]{5}$' records | sort -u | head -n 3
grep -vn 'word' records | wc -l
fgrep -i 'WORD30' records | head -n 1

section text
tr a-z A-Z <records | md5sum
rev numbers | tail -n 1
tac numbers | head -n 2
nl records | sed -n 2p
fold -w 20 records | wc -l
expand numbers | unexpand | wc -c
head -c 100 records | od -An -tx1 | head -n 3
head -c 40 records | hexdump -C
head -c 40 records | xxd
head -c 64 records | base64
uuencode -m x <numbers | md5sum
tail -n +1990 numbers | paste -d: - - -
comm_test=$(cmp numbers records 2>&1); echo "$comm_test"
dos2unix <records | wc -c
strings -n 6 records | head -n 2
split_line=$(xargs -n 400 <numbers | wc -l); echo "$split_line"
cal 2 2024
factor 600851475143 9007199254740993
expr 17 \* 3 + 4 % 3
printf '%05.2f|%-6s|%x\n' 3.14159 ab 255
date -u -d @1000000000 '+%Y-%m-%d %H:%M:%S'
basename /a/b/c.txt .txt; dirname /a/b/c.txt

section diff
sed 's/^100$/changed/' numbers >numbers2
diff numbers numbers2
diff -u numbers numbers2 | tail -n +3 >fix.patch
cat fix.patch
printf -- '--- numbers\n+++ numbers\n' | cat - fix.patch >fix2.patch
patch -p0 <fix2.patch >/dev/null
cmp numbers numbers2 && echo same
printf '1,3p\n100\nq\n' | ed numbers 2>/dev/null | tail -n 4

section calculators
echo 'scale=40; 4*a(1); 2^200; sqrt(2); for (i = 0; i < 3; ++i) i^i; e(1)' | bc -l
dc -e '20k 2 v p 1 3 / p 3 100 ^ 997 % p'

section compressors
for tool in gzip bzip2; do
  $tool -9 -c records >records.$tool
  wc -c <records.$tool
  md5sum <records.$tool
  $tool -d -c records.$tool | cmp - records && echo "$tool ok"
done
for i in 1 2 3 4 5; do cat records; done >big
gzip -c big | gunzip -c | md5sum
bzip2 -c big | bunzip2 -c | md5sum
# Made by xz: busybox has only the decompressor.
base64 -d <<'END' | xzcat
/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQBCVmVsbHVtOiBhbiBlbXVsYXRvciBvZiB0aGUgbWFj
aGluZSBpdHNlbGYuCk9uZSBzaGVldCBvdmVyIGFub3RoZXIuCgAA9Ys2DfgWT5MAAVtDniEclh+2
830BAAAAAARZWg==
END

section archives
mkdir -p tree/a/b tree/c
cp records tree/a/one
cp numbers tree/a/b/two
ln tree/a/one tree/c/hard
ln -s ../a/one tree/c/soft
chmod 640 tree/a/one
tar -cf - tree/a tree/c | tar -tf - | sort
tar -czf tree.tgz tree && rm -rf tree && tar -xzf tree.tgz && find tree -type f | sort | xargs md5sum
readlink tree/c/soft
find tree -name 't*' -o -type l | sort | cpio -o -H newc 2>/dev/null | cpio -t 2>/dev/null
test tree/a/one -ef tree/c/hard && echo 'hard link kept'
ls -l tree/a/one | cut -c1-10

section files
dd if=records of=part bs=100 skip=3 count=7 2>/dev/null
md5sum <part
truncate -s 4096 part; wc -c <part
stat -c '%s %a %F' part
find . -name 'num*' -size -20k | sort
mkfifo pipe; (cat numbers >pipe &) ; wc -l <pipe
mktemp -u XXXXXX | wc -c
du -s tree >/dev/null && echo du
tail -c 8 numbers; wc records
cat numbers | tee copy | wc -l; cmp numbers copy && rm copy
dd if=/dev/zero bs=1k count=64 2>/dev/null | sha1sum
dd if=/dev/urandom bs=1k count=4 2>/dev/null | wc -c
sum=0; while read -r n; do sum=$((sum + n)); done <numbers; echo $sum

section shell
fib() { if [ "$1" -lt 2 ]; then echo "$1"; else echo $(($(fib $(($1 - 1))) + $(fib $(($1 - 2))))); fi; }
fib 9
case abc in a?c) echo glob ;; esac
x=hello.world.txt; echo "${x%%.*} ${x##*.} ${#x}"
(trap 'echo trapped; exit 3' TERM; kill -TERM "$(sh -c 'echo $PPID')"; sleep 1); echo $?
sleep 0.1 & wait $!; echo "waited $?"
echo a b c | (read -r p q; echo "$q $p")
timeout 1 sleep 10; echo "timeout $?"
getopt -o ab: -- -a -b x y
env -i A=1 env
yes | head -n 3 | tr -d '\n'; echo
seq 3 | while read -r i; do echo "line $i"; done
echo done
