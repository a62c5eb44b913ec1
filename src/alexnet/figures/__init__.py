"""The paper's figures and a few more, drawn from plain arrays by matplotlib; one module each."""
