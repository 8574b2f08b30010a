// The bakery whose loaves are on the shelf once, however often a step is begun.
#include <chrono>
#include <dbos/dbos.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>

using namespace std::chrono_literals;

inline constexpr auto Bake = dbos::workflow<std::string(int)>("bake");

// [careful]
int bake_one(int n) {
    const auto place = "shelf/loaf-" + std::to_string(n);
    std::filesystem::create_directories("shelf");
    std::ofstream(place + ".new") << "rye\n";
    std::filesystem::rename(place + ".new", place);  // replaces what an earlier attempt has left
    std::cout << "loaf " << n << " is on the shelf, too hot to weigh" << std::endl;
    std::this_thread::sleep_for(3s);
    std::cout << "loaf " << n << " is weighed" << std::endl;
    return 500 + n;
}
// [careful]

std::string bake(dbos::Context& ctx, int loaves) {
    int grams = 0;
    for (int n = 1; n <= loaves; ++n) grams += ctx.step("bake_one", [&] { return bake_one(n); });
    return std::to_string(grams) + " g of bread";
}

int main() {
    dbos::App app({.name = "bakery"});
    app.implement(Bake, bake);
    app.launch();
    auto handle = app.start_workflow(Bake, {.workflow_id = "monday"}, 3);
    std::cout << handle.get_result() << std::endl;
}
