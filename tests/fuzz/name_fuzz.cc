// The text of a name: what parses is shown as text that parses to the same name; errors say something.
#include <cstdint>
#include <string_view>

#include "bounds.h"
#include "frame/name.h"
#include "require.h"

using namespace slipway;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto name = parse_name(text);
  if (!name) {
    FUZZ_REQUIRE(!name.error().empty());
    return 0;
  }
  for (const auto& part : name->component) {
    FUZZ_REQUIRE(!part.empty() && part.size() <= kMaxComponentBytes && part.find('/') == std::string::npos);
  }
  const auto again = parse_name(name->text());
  FUZZ_REQUIRE(again.has_value() && *again == *name && again->hashed() == name->hashed());
  return 0;
}
