#pragma once
// The three servers of the benchmark `native`, as its one client sees them: what is written to connect and to
// subscribe, and the bytes of one message out and in. Everything is of a fixed size, so that deliveries are counted
// by bytes for all of them alike.

#include <cstdint>
#include <string>
#include <vector>

namespace slipway::bench {

enum class Server : std::uint8_t { kSlipway, kNats, kRelay };
enum class Pattern : std::uint8_t { kOneToOne, kOneToMany };

// Connects to 127.0.0.1:port and says hello. Blocking; ends the program with a message when it fails.
int connect_and_greet(Server server, std::uint16_t port);
// Subscribes this connection to a pattern's destination, and waits for the server to have it in force.
void subscribe(Server server, int fd, Pattern pattern);
// What is written to publish one message, and how many bytes a subscriber receives for it.
std::string publish_bytes(Server server, Pattern pattern, std::size_t payload_bytes);
std::size_t delivered_bytes(Server server, Pattern pattern, std::size_t payload_bytes);

}  // namespace slipway::bench
