// Any bytes as a connection to the control API: requests come out, each is answered; however the bytes are split.
#include <cstddef>
#include <cstdint>
#include <span>

#include "api/api.h"
#include "api/http_request.h"
#include "require.h"

namespace {

using namespace slipway;

// A node that knows nothing.
class EmptyNode final : public ApiBackend {
  VersionRow version() override { return {}; }
  StatusRow status() override { return {}; }
  std::vector<PortRow> ports() override { return {}; }
  std::vector<ListenerRow> listeners() override { return {}; }
  LinksPage links(std::uint32_t, std::uint32_t) override { return {}; }
  RoutesPage routes(std::uint32_t, std::uint32_t, std::optional<std::uint32_t>, const std::optional<TextName>&) override { return {}; }
  std::expected<ExplainRow, ApiFault> explain(const TextName& name, std::uint32_t, std::uint32_t) override { return ExplainRow{.name = name.text()}; }
  std::vector<DropRow> drops() override { return {}; }
  BooksPage books() override { return {}; }
  std::vector<WorkerRow> workers() override { return {}; }
  MemoryRow memory() override { return {}; }
  ConfigRow config() override { return {}; }
  ControlCounters control_counters() override { return {}; }
  std::string unhealthy() override { return {}; }
  Channels* channels() override { return nullptr; }
  void stop(std::optional<std::uint32_t>) override {}
  ReloadRow reload() override { return {}; }
  std::expected<void, ApiFault> set_log_level(const std::string&) override { return {}; }
  std::expected<void, ApiFault> route(bool, const TextName&, const std::string&) override { return {}; }
  std::expected<void, ApiFault> close_link(std::uint32_t) override { return {}; }
  std::expected<std::shared_ptr<ResponseStream>, ApiFault> trace(const WatchRequest&) override { return std::make_shared<ResponseStream>(); }
  std::expected<std::shared_ptr<ResponseStream>, ApiFault> capture(const WatchRequest&) override { return std::make_shared<ResponseStream>(); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static EmptyNode node;
  static Api api(node);
  if (size == 0) {
    return 0;
  }
  const std::size_t step = data[0] + 1;
  std::span<const char> rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  HttpRequestParser parser;
  while (!rest.empty()) {
    const auto piece = rest.first(std::min(step, rest.size()));
    std::size_t used = 0;
    const auto state = parser.feed(piece, used);
    FUZZ_REQUIRE(used <= piece.size());
    if (state == HttpRequestParser::State::kFault) {
      FUZZ_REQUIRE(parser.fault_status() >= 400);
      break;
    }
    if (state == HttpRequestParser::State::kComplete) {
      const auto response = api.handle(parser.take());
      FUZZ_REQUIRE(response.stream != nullptr || !response.body.empty());
    } else {
      FUZZ_REQUIRE(used == piece.size());
    }
    rest = rest.subspan(used);
  }
  return 0;
}
