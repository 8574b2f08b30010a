// What the demo programs share: the command line, a web server that speaks JSON, and an end by Ctrl-C.
#pragma once

#include <httplib.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>

namespace web {

using Json = nlohmann::ordered_json;
using httplib::Request;
using httplib::Response;

struct Settings {
    std::string database_url = {};
    std::string host = "127.0.0.1";
    int port = 8000;  // 0: any free one
};

/// Reads `--db URL`, `--host ADDRESS` and `--port NUMBER`. Without --db the environment variable DBOS_SYSTEM_DATABASE_URL
/// names the database, else `default_url` does. Ends the program with a sentence if the command line makes no sense.
inline Settings parse_settings(int argc, char** argv, const std::string& default_url) {
    Settings settings;
    const char* environment = std::getenv("DBOS_SYSTEM_DATABASE_URL");
    settings.database_url = environment != nullptr && *environment != '\0' ? environment : default_url;
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
        const bool number =
            !value.empty() && value.size() <= 5 && value.find_first_not_of("0123456789") == std::string::npos;
        if (name == "--db" && !value.empty()) {
            settings.database_url = value;
        } else if (name == "--host" && !value.empty()) {
            settings.host = value;
        } else if (name == "--port" && number) {
            settings.port = std::stoi(value);
        } else {
            std::cerr << "usage: " << argv[0] << " [--db URL] [--host ADDRESS] [--port NUMBER]\n";
            std::exit(2);
        }
    }
    return settings;
}

inline void reply(Response& response, const Json& json) {
    response.set_content(json.dump() + "\n", "application/json");
}
inline void refuse(Response& response, int status, const std::string& sentence) {
    response.status = status;
    reply(response, {{"error", sentence}});
}
inline void reply_html(Response& response, const char* page) { response.set_content(page, "text/html"); }

/// What a demo does on purpose: it dies at once, as under `kill -9`. No destructor runs, nothing is flushed.
[[noreturn]] inline void crash() { std::_Exit(1); }

/// A member of a JSON request body; `otherwise` if the body is no object or has no such member of that type.
template <class T>
T body_member(const Request& request, const char* name, T otherwise) {
    const Json body = Json::parse(request.body, nullptr, false);
    try {
        return body.is_object() && body.contains(name) ? body[name].get<T>() : otherwise;
    } catch (const Json::type_error&) {
        return otherwise;
    }
}

/// Routes are added with Get() and post(); start() serves them on a thread, until the object goes. An exception of a route
/// becomes an answer with status 500.
class Server : public httplib::Server {
   public:
    Server() {
        set_keep_alive_timeout(1);
        set_exception_handler([](const Request& request, Response& response, std::exception_ptr error) {
            try {
                std::rethrow_exception(error);
            } catch (const std::exception& exception) {
                std::cerr << request.method << " " << request.path << ": " << exception.what() << "\n";
                refuse(response, 500, exception.what());
            } catch (...) {
                refuse(response, 500, "unknown error");
            }
        });
    }
    ~Server() override {
        while (serving_) {  // stop() does nothing as long as the thread is on its way to serving
            stop();
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        if (thread_.joinable()) thread_.join();
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// As Post(), which waits five seconds for the body of a request that has none and does not say so (`curl -X POST`).
    void post(const std::string& pattern, Handler handler) {
        Post(pattern, [handler = std::move(handler)](const Request& request, Response& response,
                                                     const httplib::ContentReader& read) {
            Request whole = request;
            if (request.has_header("Content-Length") || request.has_header("Transfer-Encoding")) {
                read([&](const char* bytes, std::size_t count) {
                    whole.body.append(bytes, count);
                    return true;
                });
            }
            handler(whole, response);
        });
    }

    /// Ends the program with a sentence if the address cannot be had.
    void start(const Settings& settings) {
        int port = settings.port;
        if (port == 0) {
            port = bind_to_any_port(settings.host);
        } else if (!bind_to_port(settings.host, port)) {
            port = -1;
        }
        if (port < 0) {
            std::cerr << "cannot listen on " << settings.host << ":" << settings.port
                      << "; try another --port\n";
            std::exit(1);
        }
        serving_ = true;
        thread_ = std::thread([this] {
            listen_after_bind();
            serving_ = false;
        });
        std::cout << "Listening on http://" << settings.host << ":" << port << std::endl;
    }

   private:
    std::atomic<bool> serving_ = false;
    std::thread thread_;
};

}  // namespace web
