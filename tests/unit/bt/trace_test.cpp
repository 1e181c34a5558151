// What can be watched: traces, a unit's dump, names for perf.
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "long_guest.hpp"

namespace vellum::bt {
namespace {

class StringSink final : public TraceSink {
 public:
  void write(std::string_view lines) override { text += lines; }
  std::string text;
};

class BtTrace : public LongGuest {
 protected:
  explicit BtTrace(const Options& options = {.cache_bytes = 4 << 20, .threshold = 0}) : LongGuest(options) {}
  void trace(TraceKind kinds) { engine_.vcpu().set_trace(Tracer(sink_, kinds, 0)); }
  bool traced(std::string_view what) const { return sink_.text.find(what) != std::string::npos; }
  StringSink sink_;
};

TEST_F(BtTrace, AUnitIsShownBesideItsTranslation) {
  // MOV RAX, [RBX]; ADD RAX, RCX; MOV [RBX+8], RAX; JMP to itself
  code({0x48, 0x8b, 0x03, 0x48, 0x01, 0xc8, 0x48, 0x89, 0x43, 0x08, 0xeb, 0xfe});
  state_.gpr[x86::kRbx] = kData;
  trace(TraceKind::kUnits);
  run(4);
  EXPECT_TRUE(traced("vcpu0: unit 1000 at 1000: 4 instructions, 12 bytes")) << sink_.text;
  EXPECT_TRUE(traced("0000000000001000  48 8b 03                       mov rax, [rbx]\n")) << sink_.text;
  EXPECT_TRUE(traced("0000000000001003  48 01 c8                       add rax, rcx\n")) << sink_.text;
  EXPECT_TRUE(traced("0000000000001006  48 89 43 08                    mov [rbx+0x08], rax\n")) << sink_.text;
  EXPECT_TRUE(traced("add r11, rcx\n")) << "RAX is in R11: " << sink_.text;
  EXPECT_TRUE(traced("[guest.rip]")) << sink_.text;
  EXPECT_FALSE(traced("exits: ") || traced("mmu: ") || traced("irq: "));
}

TEST_F(BtTrace, EveryJumpWithinAUnitGoesToAnInstructionOfTheDump) {
  // MOV EAX, [RBX]; ADC [RBX+4], EAX; SHL ECX, CL; CMPXCHG [RBX], RDX; JNZ to the start
  code({0x8b, 0x03, 0x11, 0x43, 0x04, 0xd3, 0xe1, 0x48, 0x0f, 0xb1, 0x13, 0x75, 0xf3});
  state_.gpr[x86::kRbx] = kData;
  trace(TraceKind::kUnits);
  run(5);
  const std::regex line("^    (\\+[0-9a-f]+)  (.*)$"), jump("^j[a-z]+ (\\+[0-9a-f]+)$");
  std::set<std::string> places, targets;
  std::istringstream lines(sink_.text);
  std::smatch part, to;
  for (std::string text; std::getline(lines, text);) {
    if (!std::regex_match(text, part, line)) continue;
    places.insert(part[1]);
    const std::string instruction = part[2];
    if (std::regex_match(instruction, to, jump)) targets.insert(to[1]);
  }
  EXPECT_GT(targets.size(), 4u) << sink_.text;
  for (const std::string& target : targets)
    EXPECT_TRUE(places.contains(target)) << target << "\n" << sink_.text;
}

TEST_F(BtTrace, ExitsSayWhy) {
  code({0x0f, 0xa2, 0xf4});  // CPUID; HLT
  trace(TraceKind::kExits);
  run();
  EXPECT_TRUE(traced("exits: callout for cpuid before 1002")) << sink_.text;
}

TEST_F(BtTrace, InterruptsAndFaultsSayWhereTo) {
  code({0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x40, 0x00});  // MOV RAX, [400000h], where nothing is mapped
  trace(TraceKind::kIrq | TraceKind::kMmu);
  run();
  EXPECT_TRUE(traced("mmu: page fault at 400000, error code 0x0\n")) << sink_.text;
  EXPECT_TRUE(traced("irq: #PF(0x0, address 0x400000) at 1000, to 800e\n")) << sink_.text;
}

TEST_F(BtTrace, PageWalksAndFlushes) {
  // MOV RAX, [RBX]; INVLPG [RBX]; MOV RAX, CR3; MOV CR3, RAX; HLT
  code({0x48, 0x8b, 0x03, 0x0f, 0x01, 0x3b, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xf4});
  state_.gpr[x86::kRbx] = kData;
  trace(TraceKind::kMmu);
  run();
  EXPECT_TRUE(traced("mmu: 10000 is at 10000 in a page of 2048 KiB\n")) << sink_.text;
  EXPECT_TRUE(traced("mmu: flush of page 10000\n")) << sink_.text;
  EXPECT_TRUE(traced("mmu: flush of PCID 0x0\n")) << sink_.text;
}

class BtPerf : public BtTrace {
 protected:
  BtPerf() : BtTrace({.cache_bytes = 4 << 20, .threshold = 0, .perf_map = true}) {}
  ~BtPerf() override { std::filesystem::remove(path_); }
  const std::string path_ = "/tmp/perf-" + std::to_string(::getpid()) + ".map";
};

TEST_F(BtPerf, TranslatedCodeHasANameWhereItRuns) {
  code({0x90, 0xf4});
  trace(TraceKind::kUnits);
  run();
  std::ostringstream map;
  map << std::ifstream(path_).rdbuf();
  std::smatch host;
  ASSERT_TRUE(std::regex_search(sink_.text, host, std::regex("([0-9]+) bytes at ([0-9a-f]+)\n")))
      << sink_.text;
  std::ostringstream line;
  line << host[2] << ' ' << std::hex << std::stoul(host[1]) << " bt:1000\n";
  EXPECT_NE(map.str().find(line.str()), std::string::npos) << map.str() << sink_.text;
  EXPECT_NE(map.str().find(" bt:routines\n"), std::string::npos) << map.str();
}

}  // namespace
}  // namespace vellum::bt
