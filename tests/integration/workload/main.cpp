// The guest workload: `workload PART` runs one part and prints its results; without an argument it names the
// parts. `workload child N` is what the processes part executes.
#include <cstdlib>
#include <cstring>

#include "report.hpp"

using namespace workload;

namespace {

struct Part {
  const char* name;
  int (*run)();
};
constexpr Part kParts[] = {
    {"integers", integers}, {"x87", x87},         {"vectors", vectors},
    {"crypto", crypto},     {"threads", threads}, {"signals", signals},
    {"timers", timers},     {"memory", memory},   {"clocks", clocks},
};

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc == 3 && std::strcmp(argv[1], "child") == 0) return std::atoi(argv[2]);
  if (argc == 2 && std::strcmp(argv[1], "processes") == 0) return processes(argv[0]);
  for (const Part& part : kParts) {
    if (argc == 2 && std::strcmp(argv[1], part.name) == 0) return part.run();
  }
  for (const Part& part : kParts) std::puts(part.name);
  std::puts("processes");
  return argc == 1 ? 0 : 2;
}
