// swift-tools-version:5.7
import PackageDescription

let package = Package(
    name: "Edgernn",
    platforms: [.iOS(.v13), .macOS(.v11)],
    products: [
        .library(name: "Edgernn", targets: ["Edgernn"]),
        .library(name: "CEdgernn", targets: ["CEdgernn"]),
    ],
    targets: [
        .target(
            name: "CEdgernn",
            publicHeadersPath: ".",
            linkerSettings: [
                .linkedLibrary("dl", .when(platforms: [.linux])),
                .linkedLibrary("m", .when(platforms: [.linux])),
            ]
        ),
        .target(name: "Edgernn", dependencies: ["CEdgernn"]),
        .executableTarget(name: "app", dependencies: ["Edgernn"]),
    ],
    cLanguageStandard: .c11
)
