#pragma once
// One HTTP/1.1 request out of the bytes of a connection, bounded. No I/O: the server feeds it, fuzzers too.
// RFC 9110, RFC 9112 by libhttp-parser; upgrades and trailers are refused or ignored.

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace slipway {

struct HttpRequest {
  std::string method;                        // GET, POST, ...
  std::string path;                          // percent-decoded, without the query
  std::map<std::string, std::string> query;  // percent-decoded; of a key that is there twice the last
  std::string body;
  bool keep_alive = true;
};

class HttpRequestParser {
 public:
  enum class State { kMore, kComplete, kFault };
  HttpRequestParser();
  ~HttpRequestParser();
  HttpRequestParser(HttpRequestParser&&) noexcept;
  HttpRequestParser& operator=(HttpRequestParser&&) noexcept;

  // Takes bytes until a request is complete; `used` says how many. The rest belongs to the next request.
  State feed(std::span<const char> bytes, std::size_t& used);
  [[nodiscard]] bool begun() const;             // some bytes of a request are here
  HttpRequest take();                           // after kComplete; the parser is ready for the next
  [[nodiscard]] int fault_status() const;       // after kFault: 400, 413, 414, 431, 501
  [[nodiscard]] const std::string& fault() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "%41" and "+" (in queries) as the characters they stand for. False when it is no valid encoding.
bool percent_decode(std::string_view text, bool plus_is_space, std::string& out);

}  // namespace slipway
