#!/bin/bash
# rootfs.sh DIR PROGRAM... - the files that these programs need at run time, as a root file system in DIR.
#
# Shared libraries by ldd, certificates, time zones, and of each Debian package that gave a file its entry for
# scanners (var/lib/dpkg/status.d) and its licence. No shell, no package manager, nothing setuid.
set -euo pipefail

root=$1
shift
declare -A packages=()

# Debian knows some files by the name they had before /lib became a link into /usr.
own()
{
    local found
    found=$(dpkg-query -S "$1" 2>/dev/null || dpkg-query -S "${1#/usr}" 2>/dev/null || true)
    [ -n "$found" ] || {
        printf 'rootfs: no package has %s\n' "$1" >&2
        exit 1
    }
    found=${found%%: /*}
    packages[${found%%,*}]=1
}

# The file under the name it is asked for by, so that no link is needed.
put()
{
    local real
    real=$(readlink -f "$1")
    own "$real"
    install -D -m "${3:-0644}" "$real" "$root$2"
}

for dir in lib lib64; do
    mkdir -p "$root/usr/$dir"
    ln -s "usr/$dir" "$root/$dir"
done
for program in "$@"; do
    case $program in
    /usr/*) own "$program" ;; # Debian's, not ours
    esac
    install -D -m 0755 -s "$program" "$root/usr/bin/${program##*/}"
    # "name => /path (0x...)", and the loader as "/path (0x...)"
    {
        ldd "$program"
        # the C library loads it when a thread is ended
        echo "libgcc_s.so.1 => $(readlink -f "$(gcc -print-file-name=libgcc_s.so.1)") ()"
    } | sed -nE 's/^.* => (\/[^ ]+) .*$|^\s+(\/[^ ]+) .*$/\1\2/p' >/tmp/needed
    [ -s /tmp/needed ]
    while read -r library; do
        case $library in
        /usr/*) put "$library" "$library" 0755 ;;
        *) put "$library" "/usr$library" 0755 ;;
        esac
    done </tmp/needed
done

install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
put /etc/ssl/openssl.cnf /etc/ssl/openssl.cnf
mkdir -p "$root/usr/lib/ssl" "$root/usr/share"
ln -s /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"
ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"
ln -s /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"
cp -a /usr/share/zoneinfo "$root/usr/share/zoneinfo"
packages[ca-certificates]=1
packages[tzdata]=1

put /etc/os-release /usr/lib/os-release
install -d "$root/etc/crmsync" "$root/var/lib/dpkg/status.d"
ln -s ../usr/lib/os-release "$root/etc/os-release"
printf 'root:x:0:0:root:/nonexistent:/nonexistent\ncrmsync:x:65532:65532:crmsync:/nonexistent:/nonexistent\n' >"$root/etc/passwd"
printf 'root:x:0:\ncrmsync:x:65532:\n' >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
install -d -m 1777 "$root/tmp"
for package in "${!packages[@]}"; do
    name=${package%%:*}
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$name"
    install -D -m 0644 "/usr/share/doc/$name/copyright" "$root/usr/share/doc/$name/copyright"
done
install -D -m 0644 LICENSE "$root/usr/share/doc/crmsync/copyright"
