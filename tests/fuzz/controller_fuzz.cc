// Messages of the control service, and of answers what was asked: nothing throws, and what was read can be written.

#include "controller/controller_messages.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace slipway;
  const auto request = decode_controller_request(std::as_bytes(std::span(data, size)));
  if (!request) {
    FUZZ_REQUIRE(!request.error().empty());
    return 0;
  }
  if (const auto* command = std::get_if<ConfigurationCommand>(&request->payload)) {
    std::vector<RouteAck> acks;
    for (const auto& route : command->set) {
      acks.push_back({route.written, {}});
    }
    const auto ack = encode_command_ack("m", request->message_id, {}, acks);
    FUZZ_REQUIRE(ack.size() >= request->message_id.size());
  }
  return 0;
}
