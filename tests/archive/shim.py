"""A shim that makes chosen system calls fail on chosen files, compiled when first needed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* SHIM_FILE names a file that holds "CALL ERRNO PATH": while it is there, CALL on a path that contains PATH fails. */
static int failing(const char *call, int fd) {
  const char *name = getenv("SHIM_FILE");
  char wanted[16], part[4096], link[64], path[4096];
  int number, found;
  if (!name) return 0;
  FILE *file = fopen(name, "re");
  if (!file) return 0;
  found = fscanf(file, "%15s %d %4095s", wanted, &number, part);
  fclose(file);
  if (found != 3 || strcmp(wanted, call)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  if (!strstr(path, part)) return 0;
  char fired[4200];
  snprintf(fired, sizeof fired, "%s.fired", name);
  file = fopen(fired, "ae");
  if (file) { fprintf(file, "%s\n", path); fclose(file); }
  return number;
}

#define SHIM(type, name, args, values, fd)                      \
  type name args {                                              \
    static type (*real) args;                                   \
    if (!real) real = dlsym(RTLD_NEXT, #name);                  \
    int number = failing(#name, fd);                            \
    if (number) { errno = number; return -1; }                  \
    return real values;                                         \
  }

SHIM(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), fd)
SHIM(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), fd)
SHIM(int, fsync, (int fd), (fd), fd)
"""


def why_not() -> str:
    """The reason why it cannot be had here; '' when it can."""
    return "" if shutil.which("gcc") and Path("/proc/self/fd").exists() else "needs gcc and /proc"


def compiled(folder: Path) -> str:
    """The path of the shared object."""
    target = folder / "shim.so"
    if not target.exists():
        (folder / "shim.c").write_text(SOURCE)
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O1", "-o", str(target), str(folder / "shim.c"), "-ldl"], check=True
        )
    return str(target)
