#include "report.hpp"

#include <sched.h>
#include <sys/io.h>

#include <cstdio>
#include <cstdlib>

#include "benchmark.hpp"

namespace bench {
namespace {

bool to_port = false;

// 16550A registers of the first serial port (PC16550D data sheet, section 8).
constexpr unsigned short kPorts = 0x3f8, kPortCount = 8, kTransmit = 0x3f8, kLineStatus = 0x3fd;
constexpr u8 kTransmitterEmpty = 0x20;

void send(u8 byte) {
  while ((inb(kLineStatus) & kTransmitterEmpty) == 0) ::sched_yield();
  outb(byte, kTransmit);
}

}  // namespace

bool Report::open(bool serial) {
  to_port = serial;
  return !serial || ::ioperm(kPorts, kPortCount, 1) == 0;
}

void Report::line(const std::string& text) {
  if (!to_port) {
    std::puts(text.c_str());
    std::fflush(stdout);
    return;
  }
  // Only for the time of a line: a process with ports of its own costs the kernel more to switch to.
  if (::ioperm(kPorts, kPortCount, 1) != 0) std::_Exit(3);
  for (const char c : text) send(static_cast<u8>(c));
  send('\n');
  ::ioperm(kPorts, kPortCount, 0);
}

void fail(const char* what) {
  Report::line(std::string("#! ") + what);
  std::_Exit(1);
}

}  // namespace bench
