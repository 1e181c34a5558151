#include "cli/disk_option.hpp"

#include <gtest/gtest.h>

namespace vellum::cli {
namespace {

std::string error_of(const std::string& text) {
  const auto parsed = parse_disk(text);
  return parsed ? "none" : parsed.error().message;
}

TEST(DiskOption, AFileAlone) {
  const auto disk = parse_disk("/a b/c=d.img");
  ASSERT_TRUE(disk);
  EXPECT_EQ(disk->file, "/a b/c=d.img");
  EXPECT_EQ(disk->format, "");
  EXPECT_FALSE(disk->read_only);
  EXPECT_EQ(disk->cache, DiskCache::kWriteback);
  EXPECT_EQ(disk->aio, DiskAio::kAuto);
}

TEST(DiskOption, AllKeys) {
  const auto disk = parse_disk("x,,y,format=raw,readonly,cache=none,aio=threads,serial=a=b,,c");
  ASSERT_TRUE(disk);
  EXPECT_EQ(disk->file, "x,y");
  EXPECT_EQ(disk->format, "raw");
  EXPECT_TRUE(disk->read_only);
  EXPECT_EQ(disk->cache, DiskCache::kNone);
  EXPECT_EQ(disk->aio, DiskAio::kThreads);
  EXPECT_EQ(disk->serial, "a=b,c");
  EXPECT_FALSE(parse_disk("x,readonly=off")->read_only);
  EXPECT_EQ(parse_disk("x,overlay=tmp")->overlay, "tmp");
}

TEST(DiskOption, AFloppyDiskIsRawAndHasNoBus) {
  EXPECT_EQ(parse_floppy("a.img,readonly")->format, "raw");
  EXPECT_EQ(parse_floppy("a.img,format=qcow2")->format, "qcow2");
  const auto on_a_bus = parse_floppy("a.img,bus=ide");
  ASSERT_FALSE(on_a_bus);
  EXPECT_NE(on_a_bus.error().message.find("'bus': unknown"), std::string::npos);
}

TEST(DiskOption, ErrorsNameTheWord) {
  EXPECT_NE(error_of("").find("begins with a file's name"), std::string::npos);
  EXPECT_NE(error_of(",readonly").find("begins with a file's name"), std::string::npos);
  EXPECT_NE(error_of("x,readolny").find("did you mean 'readonly'?"), std::string::npos);
  EXPECT_NE(error_of("x,").find("'': unknown"), std::string::npos);
  EXPECT_NE(error_of("x,cache").find("as in cache=writeback"), std::string::npos);
  EXPECT_NE(error_of("x,cache=fast").find("cache 'fast': unknown; it is one of writeback, none"),
            std::string::npos);
  EXPECT_NE(error_of("x,readonly=").find("readonly '': unknown"), std::string::npos);
  EXPECT_NE(error_of("x,readonly,overlay=tmp").find("exclude each other"), std::string::npos);
  EXPECT_NE(error_of("x,overlay=").find("it is tmp or a file"), std::string::npos);
  EXPECT_NE(error_of("x,serial=123456789012345678901").find("1 to 20 bytes"), std::string::npos);
}

}  // namespace
}  // namespace vellum::cli
