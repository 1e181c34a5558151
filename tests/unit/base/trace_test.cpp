#include "base/trace.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace vellum {
namespace {

TEST(Trace, KindsAreNamed) {
  EXPECT_EQ(*parse_trace_kinds("bt"), TraceKind::kUnits);
  EXPECT_EQ(*parse_trace_kinds("irq,mmu,exits"), TraceKind::kIrq | TraceKind::kMmu | TraceKind::kExits);
  for (const char* bad : {"", "bt,", ",bt", "units", "bt exits"}) EXPECT_FALSE(parse_trace_kinds(bad)) << bad;
  EXPECT_EQ(parse_trace_kinds("bt,mmus").error().message, "'mmus': unknown; there are: bt, exits, mmu, irq");
}

TEST(Trace, WithoutASinkNothingIsWanted) {
  EXPECT_FALSE(Tracer().wants(TraceKind::kUnits | TraceKind::kExits | TraceKind::kMmu | TraceKind::kIrq));
}

TEST(Trace, LinesNameTheirVcpuAndReachTheFileAtOnce) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("vellum-trace-" + std::to_string(::getpid()))).string();
  auto sink = open_trace(path);
  ASSERT_TRUE(sink) << sink.error().message;
  const Tracer trace(**sink, TraceKind::kMmu, 3);
  EXPECT_TRUE(trace.wants(TraceKind::kMmu));
  EXPECT_FALSE(trace.wants(TraceKind::kUnits));

  trace.line("mmu: {:x}", 0x1234);

  std::ostringstream written;
  written << std::ifstream(path).rdbuf();
  std::filesystem::remove(path);
  EXPECT_EQ(written.str(), "vcpu3: mmu: 1234\n");
}

TEST(Trace, AFileThatCannotBeMadeIsNamed) {
  const auto sink = open_trace("/no/where");
  ASSERT_FALSE(sink);
  EXPECT_NE(sink.error().message.find("/no/where"), std::string::npos);
}

}  // namespace
}  // namespace vellum
