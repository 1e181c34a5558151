#include "cli/vsock_option.hpp"

#include <gtest/gtest.h>

namespace vellum::cli {
namespace {

std::string error_of(std::string_view text) {
  const auto parsed = parse_vsock(text);
  return parsed ? "none" : parsed.error().message;
}

TEST(VsockOption, APathAndWhoTheGuestIs) {
  const auto vsock = parse_vsock("/run/v.sock");
  ASSERT_TRUE(vsock);
  EXPECT_EQ(vsock->path, "/run/v.sock");
  EXPECT_EQ(vsock->cid, 3u);
  EXPECT_EQ(parse_vsock("v,cid=4294967294")->cid, 4294967294u);
}

TEST(VsockOption, ErrorsNameTheWord) {
  EXPECT_NE(error_of("").find("begins with a socket's path"), std::string::npos);
  EXPECT_NE(error_of(std::string(97, 'x')).find("1 to 96 bytes"), std::string::npos);
  EXPECT_NE(error_of("v,cid=2").find("'2'"), std::string::npos);
  EXPECT_NE(error_of("v,cid=4294967295").find("'4294967295'"), std::string::npos);
  EXPECT_NE(error_of("v,port=2").find("'port': unknown"), std::string::npos);
}

}  // namespace
}  // namespace vellum::cli
