// Any bytes as a configuration file: settings or an error that names a line, never a crash or a hang.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "node/config.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto settings = slipway::parse_config({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (settings) {
    FUZZ_REQUIRE(!slipway::describe_settings(*settings).empty());
  } else {
    FUZZ_REQUIRE(settings.error().starts_with("fuzz:"));
  }
  return 0;
}
