module edgernn

go 1.19
