"""Runs a command as the shipped unit would have systemd run it: as a user without rights, on a file system that is read
only but for one folder, without devices, with the unit's filter of system calls.

  unshare --mount python3 confine.py FOLDER SYSCALL,SYSCALL,... COMMAND...

FOLDER stays writable and is its user's. A call that is not listed fails with EPERM."""
import ctypes
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

USER = 64000  # as a dynamic user of systemd: of nobody, with nothing


def syscall_numbers():
    text = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read_text()
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", text)}


def mount(*words):
    subprocess.run(["mount", *words], check=True)


def hide_the_machine(folder):
    mount("--make-rprivate", "/")
    mount("--bind", folder, folder)
    devices = Path(folder, "dev")
    devices.mkdir()
    for name in ("null", "zero", "full", "random", "urandom"):
        (devices / name).touch()
        mount("--bind", f"/dev/{name}", str(devices / name))
    mount("--rbind", str(devices), "/dev")
    mount("-o", "remount,bind,ro", "/")
    for hidden in ("/root", "/home", "/var/tmp"):
        mount("-t", "tmpfs", "-o", "ro", "tmpfs", hidden)
    mount("--bind", "/proc/sys", "/proc/sys")
    mount("-o", "remount,bind,ro", "/proc/sys")


def give_up_rights():
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    if libc.prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
        raise OSError(ctypes.get_errno(), "no_new_privs")
    return libc


def filter_calls(libc, names):
    load, equal, answer = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ERRNO, EPERM
    numbers = syscall_numbers()
    program = [(load, 0, 0, 0)]  # the call's number
    for name in names:
        if name in numbers:
            program += [(equal, 0, 1, numbers[name]), (answer, 0, 0, allow)]
    program.append((answer, 0, 0, refuse))
    code = b"".join(struct.pack("<HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code)
    prog = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(buffer)))
    if libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(prog)), 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "seccomp")


def main():
    folder, calls, command = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
    hide_the_machine(folder)
    libc = give_up_rights()
    filter_calls(libc, calls)
    os.chdir("/")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
